"""The numbers of the GGUF format: types of values and of files.

From the specification, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. What does not belong here:
reading (`gguf_header`).
"""

from __future__ import annotations

FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16",
    33: "Q4_0_4_4", 34: "Q4_0_4_8", 35: "Q4_0_8_8", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4",
    40: "Q1_0", 41: "Q2_0",
}  # fmt: skip
"""`general.file_type` as a label: the enumeration of the specification (`MOSTLY_Q4_K_M` is `Q4_K_M`), and of
llama.cpp (`llama_ftype`) what came after it. 1024 and more mean that it was guessed."""

BOOL, STRING, ARRAY = 7, 8, 9
NUMBERS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 10: "Q", 11: "q", 12: "d", BOOL: "B",
}  # fmt: skip
"""Types of values by their number, as `struct` names them; string and array are the others."""

TYPES = {
    0: "uint8", 1: "int8", 2: "uint16", 3: "int16", 4: "uint32", 5: "int32", 6: "float32", BOOL: "bool",
    STRING: "string", ARRAY: "array", 10: "uint64", 11: "int64", 12: "float64",
}  # fmt: skip
