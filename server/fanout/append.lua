#!lua flags=allow-oom
-- The only writer of registers and chat. Checks first, writes after.
--
-- KEYS  room, chat, what is known of the chat, request, and with blocks: the blocks and the index of
--       their document; else what is forgotten with the room
-- ARGV  1 channel, 2 random: the epoch if one is minted, and with its first 8 characters the mark of
--       this change, 3 to 5 the epoch, the revision and its mark that the caller knows,
--       6 life of the room in ms, 7 life of the request id in ms, 8 messages kept, 9 bytes of them,
--       10 JSON of the registers, 11 JSON of the fields, 12 JSON of the chat message or "null",
--       13 the id of this message or "",
--       14 "went back" to do nothing unless the room did, "forget" to begin with nothing, or "",
--       15 how many guards, 16 how many hash fields to set, 17 how many blocks,
--       then per guard: field, value, then per hash field: name, value,
--       then per block: number, offset of its entry in the index, entry, data,
--       then the names of the hash fields to delete.
-- Returns {"done" | "again" | "conflict" | "kept" | "missing", epoch, revision}.
--
-- With blocks or a message it is run without the flag, for then it must not go past the limit of
-- memory. JSON is only joined, never decoded: a Lua table cannot tell [] from {}.

local room, chat, said, request = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local message, id = ARGV[12], ARGV[13]
local guards, sets, blocks = tonumber(ARGV[15]), tonumber(ARGV[16]), tonumber(ARGV[17])
local at = 18

local before = redis.call('GET', request)
if before then
  local epoch, rev = string.match(before, '^(%S+) (%d+)$')
  return {'again', epoch, rev}
end

local epoch = redis.call('HGET', room, 'epoch')
if epoch and id ~= '' then
  -- Everyone knows the ids of the messages that are kept, long after the requests are forgotten.
  local rev = redis.call('HGET', said, 'm:' .. id)
  if rev then
    return {'again', epoch, rev}
  end
end

for _ = 1, guards do
  if (redis.call('HGET', room, ARGV[at]) or '') ~= ARGV[at + 1] then
    return {'conflict', '', '0'}
  end
  at = at + 2
end

if blocks > 0 and (redis.call('EXISTS', KEYS[5]) == 0 or redis.call('EXISTS', KEYS[6]) == 0) then
  return {'missing', '', '0'}
end

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
    went_back = ARGV[14] == 'went back'
  end
end
if ARGV[14] == 'went back' and not went_back then
  return {'kept', '', '0'}
end
if ARGV[14] == 'forget' then
  redis.call('UNLINK', room, unpack(KEYS, 5))
  epoch = nil
end

if not epoch then
  redis.call('UNLINK', chat, said)
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
  redis.call('SETRANGE', KEYS[6], ARGV[at + 1], ARGV[at + 2])
  redis.call('HSET', KEYS[5], ARGV[at], ARGV[at + 3])
  at = at + 4
end
while ARGV[at] do
  redis.call('HDEL', room, ARGV[at])
  at = at + 1
end
if message ~= 'null' then
  redis.call('XADD', chat, '*', 'rev', rev, 'message', message, 'id', id)
  if id ~= '' then
    redis.call('HSET', said, 'm:' .. id, rev)
  end
  local size = redis.call('HINCRBY', said, 'bytes', #message)
  local left = redis.call('XLEN', chat)
  while left > 1 and (left > tonumber(ARGV[8]) or size > tonumber(ARGV[9])) do
    local entry, oldest = redis.call('XRANGE', chat, '-', '+', 'COUNT', 1)[1], {}
    for field = 1, #entry[2], 2 do
      oldest[entry[2][field]] = entry[2][field + 1]
    end
    redis.call('XDEL', chat, entry[1])
    redis.call('HDEL', said, 'm:' .. (oldest.id or ''))
    size = redis.call('HINCRBY', said, 'bytes', -#oldest.message)
    left = left - 1
  end
end

local life = ARGV[6]
local own = tonumber(redis.call('HGET', room, 'f:life') or '')
if own then
  life = string.format('%.0f', math.min(tonumber(life), own * 1000))
end
redis.call('PEXPIRE', room, life)
redis.call('PEXPIRE', chat, life)
redis.call('PEXPIRE', said, life)
if blocks > 0 then
  redis.call('PEXPIRE', KEYS[5], life)
  redis.call('PEXPIRE', KEYS[6], life)
end
redis.call('SET', request, epoch .. ' ' .. rev, 'PX', ARGV[7])
redis.call('SPUBLISH', ARGV[1], '{"epoch":"' .. epoch .. '","rev":' .. rev
  .. ',"mark":"' .. mark .. '","after":"' .. after .. '","set":' .. ARGV[10]
  .. ',"fields":' .. ARGV[11] .. ',"chat":' .. message .. '}')
return {'done', epoch, rev}
