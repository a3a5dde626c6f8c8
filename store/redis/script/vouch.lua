-- Has channels of a trunk last for another lease, and makes those that are not there.
-- KEYS  1 channels of one direction      ARGV  1 milliseconds that a channel lasts   2… ids of their calls
-- Returns how many channels there are.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1])
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now, ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], 2 * ARGV[1])
return redis.call('ZCARD', KEYS[1])
