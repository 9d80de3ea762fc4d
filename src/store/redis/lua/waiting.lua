-- A person's word on an effect that waits. ARGV: id customer refused unknown. Refused: the answer that it gets
-- when it is dropped, '' to make it due instead; unknown: the same where an attempt may have had its effect.
-- Replies: whether it waits.
for item = 1, items do
  local lease = KEYS[item]
  local p, id, customer, refused, unknown = prefix(lease), arg(), arg(), arg(), arg()
  local outbox, effect = p .. 'outbox', p .. 'effect:' .. id
  local at, kept = call('ZSCORE', outbox, id), call('GETRANGE', effect, '0', '20')
  local waits = at and #kept == 21 and string.sub(at, -2) ~= '.5'
  if waits and refused == '' then
    call('ZADD', outbox, now_text, id)
    ring(lease, 'e')
  elseif waits then
    local _, sending, _, unsure = struct.unpack('>I4I1I8I8', kept)
    call('DEL', effect)
    call('ZREM', outbox, id)
    put(p, customer, (sending == 1 or unsure > 0) and unknown or refused)
    ring(lease)
  end
  replies[item] = waits and 1 or 0
end
return {now_text, replies, heard}
