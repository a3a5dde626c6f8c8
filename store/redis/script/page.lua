-- The first members of a set above a cursor, in order: that of UUIDs is the same in every locale.
-- KEYS 1 the set   ARGV 1 the cursor  2 how many
local ids = {}
for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if id > ARGV[1] then ids[#ids + 1] = id end
end
table.sort(ids)
return {unpack(ids, 1, math.min(#ids, tonumber(ARGV[2])))}
