-- Names what this server has, anew after all of it was deleted.
-- KEYS  1 the name      ARGV  1 a part of a new one, which no other name has
-- Returns the name, and how many seconds ago it was given.
local now = redis.call('TIME')[1]
local name = redis.call('GET', KEYS[1])
if not name then
  name = now .. '-' .. ARGV[1]
  redis.call('SET', KEYS[1], name)
end
return {name, now - (tonumber(string.match(name, '^%d+')) or now)}
