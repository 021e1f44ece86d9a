"""Vectors of canonical JSON (SIG-1). What is canonical, `rfc8785` says; what is refused, the rules say."""

from __future__ import annotations

import json
from typing import Any

import rfc8785

# Names say what is hard about the input. 1E30 of the RFC's own example is left out: SIG-1 refuses it.
ACCEPTED: dict[str, str] = {
    "rfc 8785 example": (
        '{"numbers":[333333333.33333329,4.50,2e-3,0.000000000000000000000000001],'
        '"string":"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/","literals":[null,true,false]}'
    ),
    "rfc 8785 key order": (
        '{"\\u20ac":"Euro","\\r":"CR","\\ufb33":"Dalet","1":"One","\\ud83d\\ude00":"Emoji","\\u0080":"C1","ö":"o"}'
    ),
    "astral key sorts before the private use area": '{"\ue000":1,"\U00010000":2,"\uffff":3,"\U0010ffff":4}',
    "keys of which one begins the other": '{"aa":1,"a":2,"":3,"aaa":4}',
    "escaped keys sort by what they mean": '{"\\"":1,"!":2,"#":3,"\\\\":4,"[":5,"]":6,"\\u0000":7,"\\n":8}',
    "nested objects": '{"b":{"z":1,"a":[{"y":1,"x":2}]},"a":{}}',
    "white space": ' \t\r\n{ "a" : [ 1 , 2 ] , "b" : { } } \n',
    "empty containers": '[{},[],"",[[]],[{}]]',
    "top-level string": '"a"',
    "top-level number": "12.5",
    "literals": "[true,false,null]",
    "integers": "[0,-1,10,9007199254740991,-9007199254740991]",
    "largest integer as a decimal": "[9007199254740991.0,9.007199254740991e15,90071992547409910E-1]",
    "negative zero": "[-0,-0.0,-0e5,0e-99]",
    "number spellings": "[1.0,1e0,1E+2,100e-2,0.10,1.50e3,12e1]",
    "where exponents begin": "[0.000001,0.0000001,1e-6,1e-7,0.00000123,123456789012345.6]",
    "hard numbers": "[5e-324,2.2250738585072014e-308,2.225073858507201e-308,0.30000000000000004,1.1e-15]",
    "rounding of decimals": "[0.1000000000000000055511151231257827,4503599627370497.5,4503599627370495.25]",
    "underflow": "[1e-400,-1e-400,2e-324,3e-324]",
    "control characters": (
        '"' + "".join(f"\\u{code:04x}" for code in range(32)) + '\x7f\\u007f\\u0080\\u009f"'
    ),
    "short escapes": '"\\b\\f\\n\\r\\t\\"\\\\\\/"',
    "needless escapes": '"\\u0061\\u00e9\\u20AC\\uD83D\\uDE00\\u2028"',
    "raw characters": '"é€😀\u2028\u2029\ufeff\uffff\U0010ffff"',
    "depth 32": "[" * 32 + "]" * 32,
    "depth 32 of objects": '{"a":' * 32 + "1" + "}" * 32,
    "long strings around the word size": json.dumps(["x" * n + "\n" + "é" * n for n in range(18)]),
}

REFUSED: dict[str, bytes] = {
    "empty": b"",
    "only white space": b" \n",
    "byte order mark": b'\xef\xbb\xbf{"a":1}',
    "utf-16": '{"a":1}'.encode("utf-16-le"),
    "stray continuation byte": b'"\x80"',
    "overlong slash": b'"\xc0\xaf"',
    "overlong nul": b'"\xe0\x80\x80"',
    "surrogate in utf-8": b'"\xed\xa0\x80"',
    "beyond unicode": b'"\xf4\x90\x80\x80"',
    "truncated character": b'"\xf0\x9f\x98"',
    "invalid byte": b'{"a":"\xff"}',
    "duplicate key": b'{"a":1,"a":1}',
    "duplicate key, spelled differently": b'{"a":1,"\\u0061":2}',
    "duplicate key, not adjacent": b'{"a":1,"b":2,"a":3}',
    "duplicate key, nested": b'[{"x":{"a":1,"a":2}}]',
    "lone high surrogate": b'"\\ud800"',
    "lone low surrogate": b'"\\udc00"',
    "high surrogate and a letter": b'"\\ud800\\u0041"',
    "two high surrogates": b'"\\ud800\\ud800"',
    "surrogates in the wrong order": b'"\\ude00\\ud83d"',
    "lone surrogate in a key": b'{"\\udead":1}',
    "nan": b"NaN",
    "infinity": b"[Infinity]",
    "negative infinity": b"-Infinity",
    "overflow": b"[1e400]",
    "integer of 2^53": b"9007199254740992",
    "integer of 2^53 + 1": b"[9007199254740993]",
    "integer of -2^53": b"-9007199254740992",
    "large integer as a decimal": b"[9007199254740993.0]",
    "large integer with an exponent": b"[1e16]",
    "large integer with a negative exponent": b"[900719925474099300e-2]",
    "rounds to 2^53": b"[9007199254740991.5]",
    "one googol": b"1e100",
    "rfc 8785's 1E30": b"[1E30]",
    "a digit too many": b"[12345678901234567890]",
    "leading zero": b"[01]",
    "negative leading zero": b"-01",
    "plus": b"[+1]",
    "no integer part": b"[.5]",
    "no fraction": b"[1.]",
    "no exponent": b"[1e]",
    "no exponent after its sign": b"[1e+]",
    "only a minus": b"-",
    "hexadecimal": b"[0x10]",
    "underscore": b"[1_0]",
    "trailing comma in an array": b"[1,]",
    "trailing comma in an object": b'{"a":1,}',
    "leading comma": b"[,1]",
    "two commas": b"[1,,2]",
    "missing comma": b"[1 2]",
    "missing colon": b'{"a" 1}',
    "missing value": b'{"a":}',
    "unquoted key": b"{a:1}",
    "number as a key": b"{1:1}",
    "single quotes": b"{'a':1}",
    "comment": b"[1/**/]",
    "unterminated string": b'"abc',
    "unterminated escape": b'"abc\\',
    "unterminated array": b"[1",
    "unterminated object": b'{"a":1',
    "mismatched brackets": b"[1}",
    "unknown escape": b'"\\x41"',
    "short unicode escape": b'"\\u12"',
    "signed unicode escape": b'"\\u+123"',
    "raw line feed": b'"a\nb"',
    "raw nul": b'"\x00"',
    "raw unit separator": b'"12345678\x1f"',
    "upper case literal": b"TRUE",
    "truncated literal": b"[nul]",
    "no-break space": b"\xc2\xa01",
    "vertical tab": b"\x0b1",
    "nul after the value": b"1\x00",
    "second value": b"{} {}",
    "rubbish after the value": b'{"a":1}x',
    "depth 33": b"[" * 33 + b"]" * 33,
    "depth 33 of objects": b'{"a":' * 33 + b"1" + b"}" * 33,
    "endless depth": b"[" * 5_000,
}


def document() -> dict[str, Any]:
    """Make the file. Bytes are hex."""
    return {
        "about": "accepted: input and its canonical form; refused: no strict JSON. Bytes in hex.",
        "accepted": [
            {"name": name, "input": text.encode().hex(), "canonical": rfc8785.dumps(json.loads(text)).hex()}
            for name, text in ACCEPTED.items()
        ],
        "refused": [{"name": name, "input": data.hex()} for name, data in REFUSED.items()],
    }
