-- The last gate before a call. ARGV: epoch id customer digest step-back-ms
-- since-when-an-attempt-is-of-unknown-fate (0: none).
-- An effect: attempts 4, sending 1, begun 8, unsure 8, gate 4, valid until 8, digest 1 + 32, why 2 + n, …
for item = 1, items do
  local p, a = prefix(KEYS[item]), at_arg
  at_arg = a + 6
  local effect = p .. 'effect:' .. ARGV[a + 2]
  local kept = call('GETRANGE', effect, '0', '65')
  if #kept < 66 or not mine(KEYS[item], ARGV[a + 1]) then
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
