-- Takes a call that is not there any more out of a set.
-- KEYS  1 the call   2 the set      ARGV  1 the call's id
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SREM', KEYS[2], ARGV[1]) end
return 'ok'
