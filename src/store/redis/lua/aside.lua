-- Puts an input that was put aside back into its customer's inbox, or drops it. KEYS: lease head inbox
-- ready quarantine. ARGV: shard number id drop. Replies: whether it was there.
while at_key < #KEYS do
  local lease, head, inbox, ready, aside = key(), key(), key(), key(), key()
  local shard, name, id, drop = arg(), arg(), arg(), arg()
  local row = call('HGET', aside, name)
  -- Numbers are unique within a shard; the owner is checked all the same.
  local size = row and struct.unpack('>I2', row)
  if row and string.sub(row, 3, 2 + size) ~= id then row = false end
  if row then
    call('HDEL', aside, name)
    local why = struct.unpack('>I2', row, 11 + size)
    local input = string.sub(row, 13 + size + why)
    if drop == '' and #input > 8 then
      put(head, inbox, ready, id, string.sub(input, 9))
      ring(lease, shard)
    end
  end
  replies[#replies + 1] = row and 1 or 0
end
return {number(now), replies}
