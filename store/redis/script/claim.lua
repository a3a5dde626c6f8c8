-- Claims a channel of a trunk for a call.
--
-- KEYS  1 channels of the call's direction   2 those of the other one
--       3 when the last calls of the direction began, the last one first
-- ARGV  1 the call's id   2 most channels of the direction   3 most of both
--       4 most calls that may begin in a second   5 milliseconds that a channel lasts
--       A most of 0 is no limit.
--
-- Returns ok, or changes nothing and returns full or rate; and how many channels
-- both directions have. Running it twice does the same as once.

local id, most, total, rate, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local used = {}
for i = 1, 2 do
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now - lease)
  used[i] = redis.call('ZCARD', KEYS[i])
end
if not redis.call('ZSCORE', KEYS[1], id) then
  if most > 0 and used[1] >= most or total > 0 and used[1] + used[2] >= total then return {'full', used[1], used[2]} end
  if rate > 0 then
    local first = tonumber(redis.call('LINDEX', KEYS[3], rate - 1) or 0)
    -- What is in the future was noted by a server with another clock.
    if first <= now and now - first < 1000 then return {'rate', used[1], used[2]} end
    redis.call('LPUSH', KEYS[3], now)
    redis.call('LTRIM', KEYS[3], 0, rate - 1)
    redis.call('PEXPIRE', KEYS[3], 1000)
  end
  used[1] = used[1] + 1
end
redis.call('ZADD', KEYS[1], now, id)
redis.call('PEXPIRE', KEYS[1], 2 * lease)
return {'ok', used[1], used[2]}
