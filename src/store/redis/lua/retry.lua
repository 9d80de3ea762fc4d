-- Another attempt later, if the effect is still in the hands of who asks. ARGV: epoch id due ambiguous
-- since-when-an-attempt-is-of-unknown-fate (0: none) why. Whoever puts it back need not have begun: what an
-- earlier owner was sending when it ended stays in doubt.
for item = 1, items do
  local p = prefix(KEYS[item])
  local epoch, id, due, ambiguous, doubt, why = arg(), arg(), arg(), arg(), tonumber(arg()), arg()
  local effect = p .. 'effect:' .. id
  local kept = mine(KEYS[item], epoch) and call('GET', effect)
  if kept then
    local attempts, _, begun, unsure = struct.unpack('>I4I1I8I8', kept)
    if unsure == 0 then unsure = doubt end
    if ambiguous == '1' and unsure == 0 then unsure = begun > 0 and begun or now end
    local old = struct.unpack('>I2', kept, 67)
    call('SET', effect, struct.pack('>I4I1I8I8', attempts, 0, begun, unsure) .. string.sub(kept, 22, 66)
      .. struct.pack('>I2', #why) .. why .. string.sub(kept, 69 + old))
    call('ZADD', p .. 'outbox', due, id)
  end
  replies[item] = kept and 1 or 0
end
return {now_text, replies, heard}
