-- Raises the fencing counter to at least a floor, then by a step, and returns it.
-- KEYS  1 the counter      ARGV  1 the floor   2 the step
local epoch = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), tonumber(ARGV[1])) + tonumber(ARGV[2])
redis.call('SET', KEYS[1], string.format('%d', epoch))
return epoch
