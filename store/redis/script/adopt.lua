-- Gives one call of a node that is gone to another one.
--
-- KEYS  1 the call   2 the calls of the old owner   3 those of the new one
--       4 the fence of the old owner
-- ARGV  1 the call's id   2 the old owner   3 the new one   4 its epoch
--       5 milliseconds that the sets are kept
--
-- Returns adopted, or changes nothing and returns
--   gone     there is no such call, or it is over
--   other    somebody else has it, or a later run of the old owner, or its key holds no call
--   fenced   the old owner came back after this adoption was begun
-- Running it twice does the same as once.

local id, from, to, epoch = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local c = redis.pcall('HMGET', KEYS[1], 'node', 'epoch', 'state')
if c.err then return 'other' end
local held = tonumber(c[2] or 0) or 0
if not c[1] or c[3] == 'terminated' then
  redis.call('SREM', KEYS[2], id)
  return 'gone'
end
if c[1] == to and held == epoch then return 'adopted' end
if c[1] ~= from or held >= epoch then return 'other' end
if tonumber(redis.call('GET', KEYS[4]) or 0) >= epoch then return 'fenced' end

redis.call('HSET', KEYS[1], 'node', to, 'epoch', ARGV[4])
redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('SREM', KEYS[2], id)
redis.call('SADD', KEYS[3], id)
redis.call('PEXPIRE', KEYS[3], ARGV[5])
return 'adopted'
