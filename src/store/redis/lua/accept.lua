-- Inputs at the door. ARGV: generation-ms id digest-of-id digest-of-body raises-gate ring body.
for item = 1, items do
  local lease = KEYS[item]
  local p, a = prefix(lease), at_arg
  local name, digest, known, seen = ARGV[a + 3], ARGV[a + 4], false, nil
  at_arg = a + 7
  if name ~= '' then
    local generation, sub = math.floor(now / tonumber(ARGV[a + 1])), ':' .. string.byte(name, 2)
    seen = p .. 'seen:' .. generation .. sub
    known = call('HGET', p .. 'seen:' .. (generation - 1) .. sub, name)
    if not known and call('HSETNX', seen, name, digest) == 0 then known = call('HGET', seen, name) end
  end
  if known then
    replies[item] = known == digest and 1 or 2
  else
    if seen and call('HLEN', seen) == 1 then call('PEXPIRE', seen, number(tonumber(ARGV[a + 1]) * 2)) end
    put(p, ARGV[a + 2], ARGV[a + 7])
    if ARGV[a + 5] == '1' then
      local record = p .. 'customer:' .. ARGV[a + 2]
      local gate = call('GETRANGE', record, '8', '11')
      if #gate == 4 then call('SETRANGE', record, '8', struct.pack('>I4', struct.unpack('>I4', gate) + 1)) end
    end
    if ARGV[a + 6] == '1' then ring(lease) end
    replies[item] = 0
  end
end
return {now_text, replies, heard}
