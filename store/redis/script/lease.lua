-- Takes or renews the lease of a node.
--
-- KEYS  1 the lease
-- ARGV  1 epoch of the run that asks   2 milliseconds   3… field, value, field, value…
--
-- Returns taken, and changes nothing, when a later run of the node has it; kept
-- when this run had it already; new when nobody had it, or an earlier run.
local held, epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or 0), tonumber(ARGV[1])
if held > epoch then return 'taken' end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if held == epoch then return 'kept' end
return 'new'
