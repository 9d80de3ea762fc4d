-- Marks customers for a turn though nothing happened. KEYS: lease ready. ARGV: shard id.
while at_key < #KEYS do
  local lease, ready = key(), key()
  local shard, id = arg(), arg()
  call('ZADD', ready, 'NX', number(now), id)
  ring(lease, shard)
  replies[#replies + 1] = 1
end
return {number(now), replies}
