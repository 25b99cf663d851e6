#!lua flags=allow-oom
-- The only writer of registers and chat. Checks first, writes after.
--
-- KEYS  room, chat, request, and with blocks: the blocks and the index of their document;
--       else what is forgotten with the room
-- ARGV  1 channel, 2 random: the epoch if one is minted, and with its first 8 characters the mark of
--       this change, 3 to 5 the epoch, the revision and its mark that the caller knows,
--       6 life of the room in ms, 7 life of the request id in ms, 8 messages kept,
--       9 JSON of the registers, 10 JSON of the fields, 11 JSON of the chat message or "null",
--       12 "went back" to do nothing unless the room did, "forget" to begin with nothing, or "",
--       13 how many guards, 14 how many hash fields to set, 15 how many blocks,
--       then per guard: field, value, then per hash field: name, value,
--       then per block: number, offset of its entry in the index, entry, data,
--       then the names of the hash fields to delete.
-- Returns {"done" | "again" | "conflict" | "kept" | "missing", epoch, revision}.
--
-- With blocks it is run without the flag, for then it must not go past the limit of memory.
-- JSON is only joined, never decoded: a Lua table cannot tell [] from {}.

local room, chat, request = KEYS[1], KEYS[2], KEYS[3]
local guards, sets, blocks = tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15])
local at = 16

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
-- The marks of the last changes tell whether the change that the caller knows is one of this room's.
local trail = redis.call('HGET', room, 'trail') or ''
local went_back = false
if epoch and epoch == ARGV[3] then
  local known = tonumber(ARGV[4])
  local first = #trail - 8 * (rev - known + 1) + 1
  if rev < known then
    went_back = true
  elseif ARGV[5] == '' then
    went_back = false
  elseif first >= 1 then
    went_back = string.sub(trail, first, first + 7) ~= ARGV[5]
  else
    -- Too long ago to say: only who has lost track for that long begins anew.
    went_back = ARGV[12] == 'went back'
  end
end
if ARGV[12] == 'went back' and not went_back then
  return {'kept', '', '0'}
end
if ARGV[12] == 'forget' then
  redis.call('UNLINK', room, unpack(KEYS, 4))
  epoch = nil
end

if not epoch then
  redis.call('UNLINK', chat)
end
if not epoch then
  trail = ''
end
if not epoch or went_back then
  epoch = ARGV[2]
  redis.call('HSET', room, 'epoch', epoch)
end

rev = string.format('%.0f', redis.call('HINCRBY', room, 'rev', 1))
local mark, after = string.sub(ARGV[2], 1, 8), string.sub(trail, -8)
redis.call('HSET', room, 'trail', string.sub(trail .. mark, -128 * 8))
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
if ARGV[11] ~= 'null' then
  redis.call('XADD', chat, 'MAXLEN', '=', ARGV[8], '*', 'rev', rev, 'message', ARGV[11])
end

local life = ARGV[6]
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
redis.call('SET', request, epoch .. ' ' .. rev, 'PX', ARGV[7])
redis.call('SPUBLISH', ARGV[1], '{"epoch":"' .. epoch .. '","rev":' .. rev
  .. ',"mark":"' .. mark .. '","after":"' .. after .. '","set":' .. ARGV[9]
  .. ',"fields":' .. ARGV[10] .. ',"chat":' .. ARGV[11] .. '}')
return {'done', epoch, rev}
