-- The last gate before a call. ARGV: epoch id customer digest step-back-ms
-- since-when-an-attempt-is-of-unknown-fate (0: none) funnel-and-provider recheck-ms.
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

for item = 1, items do
  local p, a = prefix(KEYS[item]), at_arg
  at_arg = a + 8
  local effect = p .. 'effect:' .. ARGV[a + 2]
  local kept = call('GETRANGE', effect, '0', '65')
  if #kept < 66 or lease_of(KEYS[item])[1] ~= ARGV[a + 1] then
    replies[item] = {'gone'}
  elseif call('LLEN', p .. 'inbox:' .. ARGV[a + 3]) > 0 then
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
    local owned = call('GETRANGE', p .. 'customer:' .. ARGV[a + 3], '8', '11')
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
