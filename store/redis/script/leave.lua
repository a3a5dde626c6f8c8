-- Gives the lease of a node up: its calls are free at once.
-- KEYS  1 the lease      ARGV  1 epoch of the run that leaves   2 milliseconds that this shows
if tonumber(redis.call('HGET', KEYS[1], 'epoch') or 0) > tonumber(ARGV[1]) then return 'taken' end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'state', 'left', 'calls', '0')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'ok'
