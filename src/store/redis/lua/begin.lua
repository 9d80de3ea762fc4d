-- The last gate before a call. ARGV: epoch id customer digest step-back-ms
-- since-when-an-attempt-is-of-unknown-fate (0: none) funnel-and-provider recheck-ms small (1: effect and record are).
-- An effect: attempts 4, sending 1, begun 8, unsure 8, gate 4, valid until 8, digest 1 + 32, why 2 + n, …

-- Epoch of the shard's owner, and what is paused: a number 8, then 8 for each; eight zeros pause everything.
local leases = {}
local function lease_of(lease)
  local kept = leases[lease]
  if not kept then
    kept = call('HMGET', lease, 'e', 'p')
    leases[lease] = kept
  end
  return kept
end

local EVERYTHING = string.rep('\0', 8)
local function is_paused(lease, under)
  local pauses = lease_of(lease)[2] or ''
  for at = 9, #pauses, 8 do
    local one = string.sub(pauses, at, at + 7)
    if one == EVERYTHING or one == string.sub(under, 1, 8) or one == string.sub(under, 9) then return true end
  end
  return false
end

-- What is read of all: heads of effects, gates of their customers, and whether any has unread inputs.
local heads, gates, inboxes = {}, {}, {}
local keys, of = {}, {}
for item = 1, items do
  local p, a = prefix(KEYS[item]), at_arg + (item - 1) * 9
  local effect, record = p .. 'effect:' .. ARGV[a + 2], p .. 'customer:' .. ARGV[a + 3]
  inboxes[item] = p .. 'inbox:' .. ARGV[a + 3]
  if ARGV[a + 9] == '1' then
    keys[#keys + 1] = effect
    keys[#keys + 1] = record
    of[#of + 1] = item
  else
    heads[item], gates[item] = call('GETRANGE', effect, '0', '65'), call('GETRANGE', record, '8', '11')
  end
end
if #keys > 0 then
  local kept = call('MGET', unpack(keys))
  for i, item in ipairs(of) do
    heads[item] = string.sub(kept[2 * i - 1] or '', 1, 66)
    gates[item] = string.sub(kept[2 * i] or '', 9, 12)
  end
end
local some_unread = call('EXISTS', unpack(inboxes)) > 0

for item = 1, items do
  local p, a = prefix(KEYS[item]), at_arg
  at_arg = a + 9
  local effect, kept = p .. 'effect:' .. ARGV[a + 2], heads[item]
  if #kept < 66 or lease_of(KEYS[item])[1] ~= ARGV[a + 1] then
    replies[item] = {'gone'}
  elseif some_unread and call('LLEN', inboxes[item]) > 0 then
    local due = number(now + tonumber(ARGV[a + 5]))
    local _, sending, begun, unsure = struct.unpack('>I4I1I8I8', kept)
    -- Whoever asks again has not called: the answer to an earlier `go` was lost, and nothing left. What an
    -- earlier owner was sending when it ended stays in doubt.
    if sending == 1 then
      if unsure == 0 then unsure = tonumber(ARGV[a + 6]) end
      call('SETRANGE', effect, '4', struct.pack('>I1I8I8', 0, begun, unsure))
    end
    call('ZADD', p .. 'outbox', due, ARGV[a + 2])
    replies[item] = {'turn', due}
  else
    local attempts, sending, begun, unsure, gate, valid = struct.unpack('>I4I1I8I8I4I8', kept)
    local owned = gates[item]
    if unsure == 0 then unsure = tonumber(ARGV[a + 6]) end
    local late = valid > 0 and valid < now
    if late or #owned < 4 or struct.unpack('>I4', owned) ~= gate then
      replies[item] = {'stale', late and 1 or 0, number(unsure)}
    elseif is_paused(KEYS[item], ARGV[a + 7]) then
      local due, rest = now + tonumber(ARGV[a + 8]), call('GETRANGE', effect, '66', '-1')
      -- Its time passes while it waits: the turn is to know at once.
      if valid > 0 then due = math.min(due, valid + 1) end
      -- Whoever asks again has not called: the answer to an earlier `go` was lost, and nothing left.
      call('SET', effect, struct.pack('>I4I1I8I8', attempts, 0, begun, unsure) .. string.sub(kept, 22) .. '\0\6paused'
        .. string.sub(rest, 3 + struct.unpack('>I2', rest)))
      call('ZADD', p .. 'outbox', number(due), ARGV[a + 2])
      replies[item] = {'paused', number(due)}
    elseif sending == 1 and unsure == 0 then
      -- The answer to the first time was lost: nothing was sent yet.
      replies[item] = {'go', attempts}
    else
      local head = struct.pack('>I4I1I8I8', attempts + 1, 1, now, unsure)
      if string.byte(kept, 34) == 0 then head = head .. string.sub(kept, 22, 33) .. ARGV[a + 4] end
      call('SETRANGE', effect, '0', head)
      replies[item] = {'go', attempts + 1}
    end
  end
end
return {now_text, replies, heard}
