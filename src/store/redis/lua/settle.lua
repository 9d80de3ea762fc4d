-- An effect's answer. KEYS: lease head effect outbox inbox ready. ARGV: shard id customer input.
while at_key < #KEYS do
  local lease, head, effect, outbox, inbox, ready = key(), key(), key(), key(), key(), key()
  local shard, id, customer, body = arg(), arg(), arg(), arg()
  local there = call('EXISTS', effect)
  if there == 1 then
    call('DEL', effect)
    call('ZREM', outbox, id)
    put(head, inbox, ready, customer, body)
    ring(lease, shard)
  end
  replies[#replies + 1] = there
end
return {number(now), replies}
