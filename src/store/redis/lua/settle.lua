-- An effect's answer. ARGV: id customer input. Replies: whether it was there.
for item = 1, items do
  local p = prefix(KEYS[item])
  local id, customer, body = arg(), arg(), arg()
  local there = call('DEL', p .. 'effect:' .. id)
  if there == 1 then
    call('ZREM', p .. 'outbox', id)
    put(p, customer, body)
    ring(KEYS[item])
  end
  replies[item] = there
end
return {now_text, replies, heard}
