-- Begins every script. KEYS: for each item the lease of its shard, `af:{7}:lease`; all other keys of the
-- item begin like it and so lie in the same slot. ARGV[1]: the clock in milliseconds as the caller knows it;
-- ARGV[2]: this process; ARGV[3]: 1 when it is sent again because the answer was lost; ARGV[4]: 1 when the
-- caller's clock is the clock, else the server's is, but never before what the caller has seen already;
-- ARGV[5], ARGV[6]: where the server has replicas, the number of this batch and the key that keeps it; ARGV[7]: the
-- stream of facts that all shards share, '' when each has its own.
-- Replies are one entry per item; a script checks everything of an item before it writes for it.
-- Numbers go to Redis as texts made by '%d': anything else is formatted as a floating-point number.
-- A call of Redis costs more than what it does: what is the same for many items is read and written by one call
-- (MGET, MSET, EXISTS, DEL), as long as it is small.
local KEYS, ARGV, call, format = KEYS, ARGV, redis.call, string.format
local now = tonumber(ARGV[1])
if ARGV[4] ~= '1' then
  local t = call('TIME')
  now = math.max(now, t[1] * 1000 + math.floor(t[2] / 1000))
end
local me, again = ARGV[2], ARGV[3] == '1'
local function number(n) return format('%d', n) end
local now_text = number(now)
local items, at_arg = #KEYS, 7
local function arg() at_arg = at_arg + 1; return ARGV[at_arg] end
local replies = {}

-- The number that was kept by the batch before: a smaller one than the caller was told is one that a fail-over
-- has lost. A slot on its way to another node is not whole on either, and only declared keys are checked by
-- Redis before a script begins: asking for two keys that never are fails there, before anything is written.
local heard = ''
if ARGV[5] ~= '' then
  call('EXISTS', ARGV[6] .. '+', ARGV[6] .. '-')
  heard = call('SET', ARGV[6], ARGV[5], 'PX', '86400000', 'GET') or ''
end

-- How all keys of a shard begin.
local prefixes = {}
local function prefix(lease)
  local p = prefixes[lease]
  if not p then
    p = string.sub(lease, 1, -6)
    prefixes[lease] = p
  end
  return p
end

-- Whether this process still owns the shard.
local owned = {}
local function mine(lease, epoch)
  local is = owned[lease]
  if not is then
    is = call('HGET', lease, 'e') or ''
    owned[lease] = is
  end
  return is == epoch
end

-- Rings the bell of the shard's owner, if that is another process; what 'e': there are effects.
local function ring(lease, what)
  local owner = call('HGET', lease, 'w')
  if owner and owner ~= '' and owner ~= me then
    call('PUBLISH', 'af:bell:' .. owner, (what or '') .. string.match(lease, '{(%d+)}'))
  end
end

-- What is paused from now on, unless a later change is known: its number 8, then 8 for each that is paused.
local function heed(lease, pauses)
  local kept = call('HGET', lease, 'p') or ''
  if kept ~= pauses and string.sub(kept, 1, 8) <= string.sub(pauses, 1, 8) then call('HSET', lease, 'p', pauses) end
end

-- Appends an input under its number.
local function append(p, id, seq, body)
  call('RPUSH', p .. 'inbox:' .. id, struct.pack('>I8', seq) .. body)
  call('ZADD', p .. 'ready', 'NX', now_text, id)
end

-- The number of an input after another: the instant of its acceptance (milliseconds * 4096), and rising always.
local function number_after(before)
  local seq = now * 4096
  return seq > before and seq or before + 1
end

-- Appends an input. What takes many in one call keeps the last number itself.
local function put(p, id, body)
  local last = p .. 'last'
  local seq = number_after(tonumber(call('GET', last) or 0))
  call('SET', last, number(seq))
  append(p, id, seq, body)
end

-- Frees a customer: she is ready again if she has inputs, and her wake is what it was.
local function free(p, id, ready_at, wake_at)
  if call('LLEN', p .. 'inbox:' .. id) > 0 then
    call('ZADD', p .. 'ready', ready_at ~= '' and ready_at or now_text, id)
  elseif ready_at ~= '' then
    call('ZREM', p .. 'ready', id)
  end
  if wake_at ~= '' then call('ZADD', p .. 'wake', 'XX', wake_at, id) end
end
