-- Appends call detail records of a process to the stream, but none that it has: a try may come twice, or late.
-- KEYS  1 the stream   2 number of the last that it has      ARGV  1 number of the first here   2 how many the stream keeps, about
--       3 milliseconds that the number is remembered   4… records
-- Returns the number of the last that it has.
local had = tonumber(redis.call('GET', KEYS[2]) or -1)
for i = 4, #ARGV do
  if ARGV[1] + i - 4 > had then redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'cdr', ARGV[i]) end
end
local last = math.max(had, ARGV[1] + #ARGV - 4)
redis.call('SET', KEYS[2], string.format('%d', last), 'PX', ARGV[3])
return last
