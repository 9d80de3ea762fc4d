-- Inputs at the door. KEYS: lease head record inbox ready. ARGV: shard seen-prefix generation-ms id
-- digest-of-id digest-of-body raises-gate body.
while at_key < #KEYS do
  local lease, head, record, inbox, ready = key(), key(), key(), key(), key()
  local shard, seen, span, id, name, digest, raises, body = arg(), arg(), tonumber(arg()), arg(), arg(), arg(), arg(), arg()
  local known, present = false, nil
  if name ~= '' then
    local generation = math.floor(now / span)
    local sub = string.byte(name, 1) * 4 + string.byte(name, 2) % 4
    present = seen .. number(generation) .. ':' .. sub
    known = call('HGET', present, name) or call('HGET', seen .. number(generation - 1) .. ':' .. sub, name)
  end
  if known then
    replies[#replies + 1] = known == digest and 1 or 2
  else
    if present then
      call('HSET', present, name, digest)
      if call('HLEN', present) == 1 then call('PEXPIRE', present, number(span * 2)) end
    end
    put(head, inbox, ready, id, body)
    if raises == '1' then
      local gate = call('GETRANGE', record, 8, 11)
      if #gate == 4 then call('SETRANGE', record, 8, struct.pack('>I4', struct.unpack('>I4', gate) + 1)) end
    end
    ring(lease, shard)
    replies[#replies + 1] = 0
  end
end
return {number(now), replies}
