from tests.support.services import service_fixtures

database_url, app, client = service_fixtures(
    "payment",
    reference_wait_s=0.1,
    simulated_webhook_secret="whsec_of_the_tests",
    voucher_secret="pepper",
    further_currencies="USD,EUR",
)
