-- Wireshark dissector of udprism's UDP protocol, version 1 (PROTOCOL.md sections 1 to 5).
-- Copy it into the folder "Personal Lua Plugins" (Help, About Wireshark, Folders), or: tshark -X lua_script:udprism.lua

local proto = Proto("udprism", "udprism colour stream")

local MAGIC, VERSION, HEADER_BYTES = 0xC7, 1, 20
local COLOUR, REPORT, REPORT_ACK, BYE = 1, 2, 3, 4
local KINDS = {[COLOUR] = "COLOUR", [REPORT] = "REPORT", [REPORT_ACK] = "REPORT_ACK", [BYE] = "BYE"}
local REASONS = {[1] = "the server shuts down", [2] = "the lease expired", [3] = "ended by an operator"}
local MOST_COLOURS = 480
local PORT = 12345

local f = {
  magic = ProtoField.uint8("udprism.magic", "Magic", base.HEX),
  version = ProtoField.uint8("udprism.version", "Version", base.DEC),
  kind = ProtoField.uint8("udprism.type", "Type", base.DEC, KINDS),
  flags = ProtoField.uint8("udprism.flags", "Flags", base.HEX),
  session = ProtoField.uint32("udprism.session", "Session id", base.HEX),
  sequence = ProtoField.uint32("udprism.sequence", "Sequence number", base.DEC),
  sent_at = ProtoField.absolute_time("udprism.sent_at", "Sent at", base.UTC),
  sent_at_ns = ProtoField.int64("udprism.sent_at_ns", "Sent at, Unix nanoseconds", base.DEC),
  delay = ProtoField.double("udprism.delay_ms", "Captured after it was sent, ms"),
  colours = ProtoField.uint16("udprism.colours", "Colours", base.DEC),
  rgb = ProtoField.bytes("udprism.rgb", "Colour", base.NONE),
  highest = ProtoField.uint32("udprism.report.highest", "Highest sequence number seen", base.DEC),
  received = ProtoField.uint32("udprism.report.received", "Received once", base.DEC),
  lost = ProtoField.uint32("udprism.report.lost", "Lost", base.DEC),
  reordered = ProtoField.uint32("udprism.report.reordered", "Reordered", base.DEC),
  duplicates = ProtoField.uint32("udprism.report.duplicates", "Duplicates", base.DEC),
  late = ProtoField.uint32("udprism.report.late", "Late", base.DEC),
  jitter = ProtoField.uint32("udprism.report.jitter_us", "Interarrival jitter, us", base.DEC),
  reason = ProtoField.uint8("udprism.bye.reason", "Reason", base.DEC, REASONS),
  text = ProtoField.string("udprism.text", "Text"),
}
proto.fields = f
local REPORT_FIELDS = {f.highest, f.received, f.lost, f.reordered, f.duplicates, f.late, f.jitter}
local REPORT_BYTES = HEADER_BYTES + 4 * #REPORT_FIELDS
local BYE_BYTES = HEADER_BYTES + 1

-- Whether the bytes are one of ours, and whole: the length of each type is exact.
local function is_ours(buffer)
  local length = buffer:reported_length_remaining()
  if buffer:len() < HEADER_BYTES or buffer(0, 1):uint() ~= MAGIC or buffer(1, 1):uint() ~= VERSION then
    return false
  end
  local kind = buffer(2, 1):uint()
  if buffer(4, 4):uint() == 0 then
    return false
  elseif kind == COLOUR then
    local colours = (length - HEADER_BYTES) / 3
    return colours >= 1 and colours <= MOST_COLOURS and colours % 1 == 0
  elseif kind == REPORT or kind == REPORT_ACK then
    return length == REPORT_BYTES
  end
  return kind == BYE and length == BYE_BYTES
end

local function add_time(buffer, pinfo, tree)
  local sent_ns = buffer(12, 8):int64()
  local seconds = sent_ns / 1000000000
  local rest = sent_ns % 1000000000
  if rest < Int64(0) then -- rounds towards zero, and times before 1970 are signed
    seconds, rest = seconds - 1, rest + 1000000000
  end
  tree:add(f.sent_at, buffer(12, 8), NSTime(seconds:tonumber(), rest:tonumber()))
  tree:add(f.sent_at_ns, buffer(12, 8))
  local captured = pinfo.abs_ts -- a double: right to a quarter of a microsecond
  local delay_ms = ((captured - seconds:tonumber()) - rest:tonumber() / 1e9) * 1e3
  tree:add(f.delay, delay_ms):set_generated()
end

local function dissect_binary(buffer, pinfo, root)
  local kind = buffer(2, 1):uint()
  local sequence = buffer(8, 4):uint()
  pinfo.cols.protocol = "udprism"
  pinfo.cols.info = string.format("%s session 0x%08x sequence %u", KINDS[kind], buffer(4, 4):uint(), sequence)
  local tree = root:add(proto, buffer(), string.format("udprism %s, sequence %u", KINDS[kind], sequence))
  tree:add(f.magic, buffer(0, 1))
  tree:add(f.version, buffer(1, 1))
  tree:add(f.kind, buffer(2, 1))
  tree:add(f.flags, buffer(3, 1))
  tree:add(f.session, buffer(4, 4))
  tree:add(f.sequence, buffer(8, 4))
  add_time(buffer, pinfo, tree)
  if kind == COLOUR then
    local colours = (buffer:reported_length_remaining() - HEADER_BYTES) / 3
    tree:add(f.colours, colours):set_generated()
    for at = HEADER_BYTES, buffer:len() - 3, 3 do -- as many as were captured
      tree:add(f.rgb, buffer(at, 3)):append_text(string.format(" (#%s)", buffer(at, 3):bytes():tohex(true)))
    end
  elseif kind == BYE then
    if buffer:len() >= BYE_BYTES then
      tree:add(f.reason, buffer(HEADER_BYTES, 1))
    end
  else
    for number, field in ipairs(REPORT_FIELDS) do
      local at = HEADER_BYTES + 4 * (number - 1)
      if buffer:len() >= at + 4 then
        tree:add(field, buffer(at, 4))
      end
    end
  end
end

local function dissect_text(buffer, pinfo, root)
  pinfo.cols.protocol = "udprism"
  local text = buffer():string(ENC_UTF_8)
  pinfo.cols.info = (text:gsub("[\r\n%z ]+$", ""))
  root:add(proto, buffer(), "udprism text"):add_packet_field(f.text, buffer(), ENC_UTF_8)
end

function proto.dissector(buffer, pinfo, root)
  if buffer:len() == 0 then
    return 0
  elseif is_ours(buffer) then
    dissect_binary(buffer, pinfo, root)
  else
    dissect_text(buffer, pinfo, root)
  end
  return buffer:len()
end

DissectorTable.get("udp.port"):add(PORT, proto)
-- A stream's server may have any port: what has our header is found there too.
proto:register_heuristic("udp", function(buffer, pinfo, root)
  if not is_ours(buffer) then
    return false
  end
  dissect_binary(buffer, pinfo, root)
  return true
end)
