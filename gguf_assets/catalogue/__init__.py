"""What a catalogue is and how one day becomes the next: rows, schemas, parsing, sync plan, snapshot, delta.

Pure: no Dagster, no file, no socket, no clock. Raw answers of the Hub come in as bytes, tables as Arrow.
"""
