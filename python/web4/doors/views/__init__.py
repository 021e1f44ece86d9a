"""What doors show of a node: documents of one shape, whether it runs or lies at rest.

A question is an async function of a `Reading` and a payload; it gives a document. A running node answers it at its
control socket (`web4.doors.commands`), out of what it holds; of a node that does not run it is answered out of its
journal, opened for reading (`web4.doors.views.at_rest`). Texts of peers, humans and sites are in documents as they are:
whoever shows them makes control characters visible (UX-7).
"""
