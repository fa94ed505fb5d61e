"""Delivery of the outcome of a meeting to other systems: one small file for each of them.

`workflows.py` plans and decides, `dispatcher.py` delivers, `registry.py` knows which integrations there are. What a
package outside needs to add one is here and in `meeting_assistant.domain.workflows`;
see `docs/how-to/add-an-integration.md`.
"""
