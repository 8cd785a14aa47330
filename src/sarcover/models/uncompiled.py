"""The mark of what torch.compile is to leave as it is."""

from torch._compile import _disable_dynamo

# `torch.compiler.disable` imports the whole compiler on the spot, more than a second whenever models are
# imported; this one, which torch uses for itself, does so when the marked function is first called.
uncompiled = _disable_dynamo
