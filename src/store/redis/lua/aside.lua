-- Puts an input that was put aside back into its customer's inbox, or drops it. ARGV: number id drop.
-- Replies: whether it was there.
for item = 1, items do
  local p = prefix(KEYS[item])
  local name, id, drop = arg(), arg(), arg()
  local row = call('HGET', p .. 'quarantine', name)
  -- Numbers are unique within a shard; the owner is checked all the same.
  local size = row and struct.unpack('>I2', row)
  if row and string.sub(row, 3, 2 + size) ~= id then row = false end
  if row then
    call('HDEL', p .. 'quarantine', name)
    local why = struct.unpack('>I2', row, 11 + size)
    local input = string.sub(row, 13 + size + why)
    if drop == '' and #input > 8 then
      put(p, id, string.sub(input, 9))
      ring(KEYS[item])
    end
  end
  replies[item] = row and 1 or 0
end
return {now_text, replies, heard}
