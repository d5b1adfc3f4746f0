"""The blueprint that the modules of this room add their routes to."""

from flask import Blueprint

routes = Blueprint("provisioning", __name__)
