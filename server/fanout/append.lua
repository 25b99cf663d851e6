#!lua flags=allow-oom
-- The only writer of registers and chat. Checks first, writes after.
--
-- KEYS  room, chat, request, and with blocks: the blocks and the index of their document;
--       else what is forgotten with the room
-- ARGV  1 channel, 2 epoch to use if one is minted, 3 and 4 the epoch and revision the caller knows,
--       5 life of the room in ms, 6 life of the request id in ms, 7 messages kept,
--       8 JSON of the registers, 9 JSON of the fields, 10 JSON of the chat message or "null",
--       11 "went back" to do nothing unless the revision did, "forget" to begin with nothing, or "",
--       12 how many guards, 13 how many hash fields to set, 14 how many blocks,
--       then per guard: field, value, then per hash field: name, value,
--       then per block: number, offset of its entry in the index, entry, data,
--       then the names of the hash fields to delete.
-- Returns {"done" | "again" | "conflict" | "kept" | "missing", epoch, revision}.
--
-- With blocks it is run without the flag, for then it must not go past the limit of memory.
-- JSON is only joined, never decoded: a Lua table cannot tell [] from {}.

local room, chat, request = KEYS[1], KEYS[2], KEYS[3]
local guards, sets, blocks = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])
local at = 15

local before = redis.call('GET', request)
if before then
  local epoch, rev = string.match(before, '^(%S+) (%d+)$')
  return {'again', epoch, rev}
end

for _ = 1, guards do
  if (redis.call('HGET', room, ARGV[at]) or '') ~= ARGV[at + 1] then
    return {'conflict', '', '0'}
  end
  at = at + 2
end

if blocks > 0 and (redis.call('EXISTS', KEYS[4]) == 0 or redis.call('EXISTS', KEYS[5]) == 0) then
  return {'missing', '', '0'}
end

local epoch = redis.call('HGET', room, 'epoch')
local rev = tonumber(redis.call('HGET', room, 'rev') or '0')
local went_back = epoch and epoch == ARGV[3] and rev < tonumber(ARGV[4])
if ARGV[11] == 'went back' and not went_back then
  return {'kept', '', '0'}
end
if ARGV[11] == 'forget' then
  redis.call('UNLINK', room, unpack(KEYS, 4))
  epoch = nil
end

if not epoch then
  redis.call('UNLINK', chat)
end
if not epoch or went_back then
  epoch = ARGV[2]
  redis.call('HSET', room, 'epoch', epoch)
end

rev = string.format('%.0f', redis.call('HINCRBY', room, 'rev', 1))
for _ = 1, sets do
  redis.call('HSET', room, ARGV[at], ARGV[at + 1])
  at = at + 2
end
for _ = 1, blocks do
  redis.call('SETRANGE', KEYS[5], ARGV[at + 1], ARGV[at + 2])
  redis.call('HSET', KEYS[4], ARGV[at], ARGV[at + 3])
  at = at + 4
end
while ARGV[at] do
  redis.call('HDEL', room, ARGV[at])
  at = at + 1
end
if ARGV[10] ~= 'null' then
  redis.call('XADD', chat, 'MAXLEN', '=', ARGV[7], '*', 'rev', rev, 'message', ARGV[10])
end

local life = ARGV[5]
local own = tonumber(redis.call('HGET', room, 'f:life') or '')
if own then
  life = string.format('%.0f', math.min(tonumber(life), own * 1000))
end
redis.call('PEXPIRE', room, life)
redis.call('PEXPIRE', chat, life)
if blocks > 0 then
  redis.call('PEXPIRE', KEYS[4], life)
  redis.call('PEXPIRE', KEYS[5], life)
end
redis.call('SET', request, epoch .. ' ' .. rev, 'PX', ARGV[6])
redis.call('SPUBLISH', ARGV[1], '{"epoch":"' .. epoch .. '","rev":' .. rev .. ',"set":' .. ARGV[8]
  .. ',"fields":' .. ARGV[9] .. ',"chat":' .. ARGV[10] .. '}')
return {'done', epoch, rev}
