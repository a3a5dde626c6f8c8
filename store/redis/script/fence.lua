-- Has adoptions fail that were begun under an epoch up to this one.
-- KEYS  1 the fence of a node in one shard      ARGV  1 epoch   2 milliseconds that it stands
if tonumber(redis.call('GET', KEYS[1]) or 0) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'ok'
