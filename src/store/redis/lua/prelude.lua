-- Begins every script. ARGV[1]: the clock in milliseconds as the caller knows it; ARGV[2]: this process;
-- ARGV[3]: 1 when it is sent again because the answer was lost; ARGV[4]: 1 when the caller's clock is the
-- clock, else the server's is, but never before what the caller has seen already.
-- Replies are one entry per item; a script checks everything of an item before it writes for it.
local call = redis.call
local now = tonumber(ARGV[1])
if ARGV[4] ~= '1' then
  local t = call('TIME')
  now = math.max(now, t[1] * 1000 + math.floor(t[2] / 1000))
end
local me, again = ARGV[2], ARGV[3] == '1'
local at_key, at_arg = 0, 4
local function key() at_key = at_key + 1; return KEYS[at_key] end
local function arg() at_arg = at_arg + 1; return ARGV[at_arg] end
local function number(n) return string.format('%.0f', n) end
local replies = {}

-- Whether this process still owns the shard.
local function mine(lease, epoch) return call('HGET', lease, 'e') == epoch end

-- Rings the bell of the shard's owner, if that is another process.
local function ring(lease, shard)
  local owner = call('HGET', lease, 'w')
  if owner and owner ~= '' and owner ~= me then call('PUBLISH', 'af:bell:' .. owner, shard) end
end

-- Appends an input. Its number is the instant of its acceptance (milliseconds * 4096) and rises always.
local function put(head, inbox, ready, id, body)
  local kept = call('HMGET', head, 's', 'i')
  local last, seq = tonumber(kept[1] or 0), now * 4096
  if seq <= last then seq = last + 1 end
  call('HSET', head, 's', number(seq), 'i', number((kept[2] or 0) + 1))
  call('RPUSH', inbox, struct.pack('>I8', seq) .. body)
  call('ZADD', ready, 'NX', number(math.floor(seq / 4096)), id)
end

-- Frees a customer: she is ready again if she has inputs, and her wake is what it was.
local function free(inbox, ready, wake, id, ready_at, wake_at)
  if call('LLEN', inbox) > 0 then
    call('ZADD', ready, ready_at ~= '' and ready_at or number(now), id)
  elseif ready_at ~= '' then
    call('ZREM', ready, id)
  end
  if wake_at ~= '' then call('ZADD', wake, 'XX', wake_at, id) end
end
