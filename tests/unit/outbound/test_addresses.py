import pytest

from broker.outbound.address import AddressForbidden, check_address

PUBLIC = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"]
PRIVATE = ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd12:3456::1", "::ffff:10.0.0.1"]
NEVER = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "not an address",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_always_allowed(address: str) -> None:
    check_address(address, private=False)
    check_address(address, private=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_allowed_only_when_the_setting_says_so(address: str) -> None:
    check_address(address, private=True)
    with pytest.raises(AddressForbidden):
        check_address(address, private=False)


@pytest.mark.parametrize("address", NEVER)
def test_metadata_services_link_local_and_multicast_are_never_allowed(address: str) -> None:
    with pytest.raises(AddressForbidden):
        check_address(address, private=True)


def test_an_address_that_carries_a_private_one_is_private() -> None:
    with pytest.raises(AddressForbidden):
        check_address("64:ff9b::7f00:1", private=False)
