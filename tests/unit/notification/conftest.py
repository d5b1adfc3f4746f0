from tests.support.services import service_fixtures

database_url, app, client = service_fixtures("notification")
