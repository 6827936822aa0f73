-- Sends the bodies given as arguments in turn, and counts every response that is not a 200.
local loaders = {}
local requests = {}
local sent = 0

function setup(thread)
  table.insert(loaders, thread)
end

function init(args)
  wrong = 0
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
  for number, body in ipairs(args) do
    requests[number] = wrk.format(nil, nil, nil, body)
  end
end

function request()
  sent = sent + 1
  return requests[sent % #requests + 1]
end

function response(status)
  if status ~= 200 then
    wrong = wrong + 1
  end
end

function done(summary)
  local wrong_responses = 0
  for _, thread in ipairs(loaders) do
    wrong_responses = wrong_responses + thread:get("wrong")
  end
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "wrong": %d, "broken": %d}\n',
    summary.requests,
    wrong_responses,
    errors.connect + errors.read + errors.write + errors.timeout
  ))
end
