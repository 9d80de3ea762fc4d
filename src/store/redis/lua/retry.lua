-- Another attempt later. KEYS: effect outbox. ARGV: id due ambiguous why.
while at_key < #KEYS do
  local effect, outbox = key(), key()
  local id, due, ambiguous, why = arg(), arg(), arg(), arg()
  local kept = call('GET', effect)
  if kept then
    local attempts, _, begun, unsure = struct.unpack('>I4I1I8I8', kept)
    if ambiguous == '1' and unsure == 0 then unsure = begun > 0 and begun or now end
    local old = struct.unpack('>I2', kept, 67)
    call('SET', effect, struct.pack('>I4I1I8I8', attempts, 0, begun, unsure) .. string.sub(kept, 22, 66)
      .. struct.pack('>I2', #why) .. why .. string.sub(kept, 69 + old))
    call('ZADD', outbox, due, id)
  end
  replies[#replies + 1] = kept and 1 or 0
end
return {number(now), replies}
