-- Ends a call that goes on here, although a server whose place this one took had its last record.
-- KEYS  1 the call   2 the calls that go on   3 the calls of its node   4 the call's text
-- ARGV  1 the call's id   2 its node   3 milliseconds that it is kept   4 why and   5 when it ended
local old = redis.call('HMGET', KEYS[1], 'state', 'node')
if not old[1] or old[1] == 'terminated' or old[2] ~= ARGV[2] then return 'over' end
redis.call('HSET', KEYS[1], 'state', 'terminated', 'ended_by', ARGV[4], 'ended_at', ARGV[5])
redis.call('SREM', KEYS[2], ARGV[1])
redis.call('SREM', KEYS[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[4], ARGV[3] + 60000)
return 'ok'
