-- Marks customers for a turn though nothing happened. ARGV: id.
for item = 1, items do
  call('ZADD', prefix(KEYS[item]) .. 'ready', 'NX', now_text, arg())
  ring(KEYS[item])
  replies[item] = 1
end
return {now_text, replies, heard}
