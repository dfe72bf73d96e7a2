"""The description of the REST surface at /openapi.json, drawn from the routes, their models and `OPERATIONS`.

FastAPI would draw it from the functions' signatures; ours take a request and give a response, so that no answer is
turned into another by a serializer (a typed FastAPI response makes null of NaN).
"""

from paramserver.http.openapi.document import document_of
from paramserver.http.openapi.problems import codes_of

__all__ = ["codes_of", "document_of"]
