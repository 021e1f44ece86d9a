"""Floor 8: a node, all of it wired (WEB-6).

async with open_node(directory) as node:
    await node.connected(peer)
    await node.cip.send_intent(peer, goal="ask", topic="the weather")
"""
