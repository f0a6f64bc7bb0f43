"""A loopback Hub that speaks the Hugging Face Hub's protocol, and a generator of a believable Hub.

What belongs here: everything needed to run the product without the real Hub. What does not: anything the
product needs to read or keep the real one; no other room imports this one but the command line.
"""
