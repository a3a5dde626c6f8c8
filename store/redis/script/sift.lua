-- The members of a set of calls: those whose release has begun, and the others.
-- KEYS 1 the set   ARGV 1 key of a call, without its id
local ending, others = {}, {}
for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  -- This key could not be declared, but it shares the set's hash tag. One that is no hash gives an error.
  local to = redis.pcall('HGET', ARGV[1] .. id, 'state') == 'ending' and ending or others
  to[#to + 1] = id
end
return {ending, others}
