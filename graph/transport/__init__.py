"""How packets cross processes: arrays in shared slots, written once and read in place; the rest in a queue per edge.

memory    what both ends ask of a transport, and which one the placement chose
ring      the slots of one output, and how many use each
copies    how large arrays get there: past the processor's cache
views     arrays on them, and who still looks at which
iceoryx   the same in memory of iceoryx2, an extra
samples   a writer and a reader of its samples
flat      most messages as plain values
form      what such messages have in common, told once
lending   what a message lends beside its arrays, such as an image on a GPU
wire      a message as bytes: its small fields, and where its arrays are
packer    makes them, and finds places for arrays
queue     those bytes, from one process to another
link      one edge out of a process: what its consumer has, and has given back
outlet    the producer's end: one for all processes that listen to an output
inlet     a consumer's end: takes what comes into the mailbox of its edge
"""
