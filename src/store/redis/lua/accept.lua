-- Inputs at the door. ARGV: generation-ms id digest-of-id digest-of-body raises-gate ring body.

-- The last number of each shard, and where it is kept.
local lasts, shards, keys, risen = {}, {}, {}, {}
for item = 1, items do
  local p = prefix(KEYS[item])
  if not lasts[p] then
    lasts[p], shards[#shards + 1], keys[#keys + 1] = 0, p, p .. 'last'
  end
end
for i, last in ipairs(call('MGET', unpack(keys))) do lasts[shards[i]] = tonumber(last or 0) end

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
    lasts[p] = number_after(lasts[p])
    risen[p] = true
    append(p, ARGV[a + 2], lasts[p], ARGV[a + 7])
    if ARGV[a + 5] == '1' then
      local record = p .. 'customer:' .. ARGV[a + 2]
      local gate = call('GETRANGE', record, '8', '11')
      if #gate == 4 then call('SETRANGE', record, '8', struct.pack('>I4', struct.unpack('>I4', gate) + 1)) end
    end
    if ARGV[a + 6] == '1' then ring(lease) end
    replies[item] = 0
  end
end

local set = {}
for p in pairs(risen) do
  set[#set + 1] = p .. 'last'
  set[#set + 1] = number(lasts[p])
end
if #set > 0 then call('MSET', unpack(set)) end
return {now_text, replies, heard}
