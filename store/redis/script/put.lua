-- Writes what is new of one call.
--
-- KEYS  1 the call   2 the calls that go on   3 the calls of the writer's node   4 the call's text
-- ARGV  1 kind: record (all but the health), part, or final (the last record)
--       2 the call's id   3 the writer's epoch   4 the writer's node
--       5 key of a node's calls, without the node
--       6 milliseconds that the call is kept   7 milliseconds that the sets are kept
--       8, 9 marks of caller and callee: local_cseq is raised to them, never lowered
--       10 the text, empty in a part and when it should be there as it is
--       11 index of the last value   12… field, value, field, value…
--       after them the fields to remove
--
-- Returns ok, or writes nothing and returns
--   fenced   a later owner has the call
--   over     the call is terminated, and stays so
--   missing  there is no such call, or its text is lost, and a part makes neither
--   textless the text was left out, but is not there
-- Running it twice does the same as once, but for the version.

local kind, id, epoch, node, text = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[10]
local keep, keep_sets = tonumber(ARGV[6]), tonumber(ARGV[7])
local old = redis.call('HMGET', KEYS[1], 'version', 'epoch', 'node', 'state', 'caller.local_cseq', 'callee.local_cseq', 'schema')
local version, old_node, layout = old[1], old[3], old[7]

if version then
  if (tonumber(old[2]) or 0) > epoch then return 'fenced' end
  if kind == 'part' and old_node ~= node then return 'fenced' end
  if old[4] == 'terminated' then return 'over' end
end
-- The text outlives the call by a minute, so that no reader finds a call without.
local left = redis.call('PTTL', KEYS[4])
if kind == 'part' then
  -- Layout 1 had no text, and a part leaves a record in the layout that it has.
  if not version or layout ~= '1' and left == -2 then return 'missing' end
elseif text == '' then
  if not version or left == -2 then return 'textless' end
elseif left < 0 then
  -- This comes first: it may fail for want of memory or because the key is no
  -- text (GET has it fail then), and nothing else is written.
  redis.call('SET', KEYS[4], text, 'PX', keep + 60000, 'GET')
else
  redis.call('SET', KEYS[4], text, 'KEEPTTL', 'GET')
end

local set = {'HSET', KEYS[1], 'schema', kind == 'part' and layout or '2', 'version', (tonumber(version) or 0) + 1}
for i, mark in ipairs({'caller.local_cseq', 'callee.local_cseq'}) do
  if tonumber(ARGV[7 + i]) > (tonumber(old[4 + i]) or 0) then
    set[#set + 1] = mark
    set[#set + 1] = ARGV[7 + i]
  end
end
local last = tonumber(ARGV[11])
for i = 12, last do set[#set + 1] = ARGV[i] end
redis.call(unpack(set))
if layout == '1' and kind ~= 'part' then -- its text is in the hash
  for _, side in ipairs({'caller.', 'callee.'}) do
    for _, name in ipairs({'call_id', 'local_tag', 'remote_tag', 'local_uri', 'remote_uri', 'target', 'route_set',
        'transport', 'peer', 'listener', 'seen', 'kept', 'user_agent', 'allow', 'session_expires', 'min_se',
        'refresher', 'offer'}) do
      redis.call('HDEL', KEYS[1], side .. name)
    end
  end
  redis.call('HDEL', KEYS[1], 'trunk_in', 'trunk_out', 'started', 'ended_text')
end
if version and last < #ARGV then redis.call('HDEL', KEYS[1], unpack(ARGV, last + 1)) end

-- This key could not be declared, but it shares the others' hash tag.
if old_node and old_node ~= node then redis.call('SREM', ARGV[5] .. old_node, id) end
if kind == 'final' then
  redis.call('SREM', KEYS[2], id)
  redis.call('SREM', KEYS[3], id)
  redis.call('PEXPIRE', KEYS[1], keep)
  redis.call('PEXPIRE', KEYS[4], keep + 60000)
elseif not version or old_node ~= node or left < keep - 3600000 then
  -- Once an hour is often enough: the sets outlive the call by as much.
  redis.call('SADD', KEYS[2], id)
  redis.call('SADD', KEYS[3], id)
  redis.call('PEXPIRE', KEYS[1], keep)
  if left >= 0 then redis.call('PEXPIRE', KEYS[4], keep + 60000) end
  redis.call('PEXPIRE', KEYS[2], keep_sets)
  redis.call('PEXPIRE', KEYS[3], keep_sets)
end
return 'ok'
