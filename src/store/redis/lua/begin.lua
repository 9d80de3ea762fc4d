-- The last gate before a call. KEYS: lease effect inbox record outbox. ARGV: epoch id digest step-back-ms
-- since-when-an-attempt-is-of-unknown-fate (0: none).
-- An effect: attempts 4, sending 1, begun 8, unsure 8, gate 4, valid until 8, digest 1 + 32, why 2 + n, …
while at_key < #KEYS do
  local lease, effect, inbox, record, outbox = key(), key(), key(), key(), key()
  local epoch, id, digest, pause, doubt = arg(), arg(), arg(), tonumber(arg()), tonumber(arg())
  local kept = call('GETRANGE', effect, 0, 65)
  if #kept < 66 or not mine(lease, epoch) then
    replies[#replies + 1] = {'gone'}
  elseif call('LLEN', inbox) > 0 then
    call('ZADD', outbox, number(now + pause), id)
    replies[#replies + 1] = {'turn', number(now + pause)}
  else
    local attempts, sending, begun, unsure, gate, valid = struct.unpack('>I4I1I8I8I4I8', kept)
    local owned = call('GETRANGE', record, 8, 11)
    if unsure == 0 then unsure = doubt end
    local late = valid > 0 and valid < now
    if late or #owned < 4 or struct.unpack('>I4', owned) ~= gate then
      replies[#replies + 1] = {'stale', late and 1 or 0, number(unsure)}
    else
      call('SETRANGE', effect, 0, struct.pack('>I4I1I8I8', attempts + 1, 1, now, unsure))
      if string.byte(kept, 34) == 0 then call('SETRANGE', effect, 33, digest) end
      replies[#replies + 1] = {'go', attempts + 1}
    end
  end
end
return {number(now), replies}
