"""Which way to whom: path vectors, their cost, and the choice between them (MESH-4). No I/O, no clock."""

from web4.mesh.routing.choice import Route, choose
from web4.mesh.routing.cost import LinkMeter, link_cost
from web4.mesh.routing.table import Change, RoutingTable

__all__ = ["Change", "LinkMeter", "Route", "RoutingTable", "choose", "link_cost"]
