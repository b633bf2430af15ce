"""The pinned core @context against the printed one (ETSI GS CIM 009 v1.9.1, annex B), term by term."""

from __future__ import annotations

from typing import Any

from broker.jsonld.core import core_definitions

PLAIN = """
Attribute AttributeList ContextSourceIdentity ContextSourceNotification ContextSourceRegistration Date DateTime EntityType
EntityTypeInfo EntityTypeList ExecutionResultDetails GeoProperty JsonProperty LanguageProperty ListProperty
ListRelationship Notification Property Relationship Snapshot SnapshotNotification Subscription TemporalProperty Time
VocabProperty accept aggrParams aggrMethods aggrPeriodDuration attrs cacheDuration collation contextSourceAlias
contextSourceInfo contextSourceUptime cooldown csf data detail endpoint entities entity entityCount error errors
expandValues format geoQ geoproperty georel idPattern information isActive join jsonKeys lang linkedMaps localOnly
location management managementInterval mode notification notificationTrigger notifierInfo notUpdated observationInterval
observationSpace omit operations operationSpace ordering pick q reason receiverInfo refreshRate registrationId
registrationName resultStatus scope scopeQ showChanges snapshotId snapshotLifetime snapshotPriority snapshotStatus status
subscriptionName sysAttrs temporalQ throttling timeInterval timeout timeproperty timerel timesFailed timesSent
triggerReason unchanged unitCode updated uri
"""
"""Terms whose definition is 'ngsi-ld:' and the term."""

TYPED = {
    "@vocab": """attributeList attributeName attributeNames attributeTypes attributes propertyNames relationshipNames
        typeList typeName typeNames watchedAttributes objectType valueType vocab previousVocab""",
    "DateTime": """contextSourceTimeAt createdAt deletedAt endAt endTimeAt expiresAt lastFailure lastNotification
        lastSuccess lastUsedAt modifiedAt notifiedAt observedAt startAt timeAt""",
    "@id": "datasetId entityId instanceId subscriptionId success tenant object previousObject",
    "@json": "contextSourceExtras json previousJson problemDetails",
}
CONTAINERS = {
    "@list": """avg bbox coordinates distinctCount entityList jsons languageMaps max min objectList objectLists objects
        orderBy previousObjectList previousValueList snapshotQueries snapshotQueriesDetails snapshotTemporalQueries
        snapshotTemporalQueriesDetails stddev sum sumsq totalCount valueList valueLists values vocabs""",
    "@language": "languageMap previousLanguageMap",
    "@index": "dataset",
    "@set": "features",
}
HAS = """
objectType valueType vocab previousVocab object previousObject json previousJson languageMaps objectList objectLists
objects previousObjectList previousValueList valueList valueLists values vocabs languageMap previousLanguageMap dataset
joinLevel key value previousValue
"""
"""Terms that stand for 'ngsi-ld:has…'."""

GEOJSON = """
Feature FeatureCollection GeometryCollection LineString MultiLineString MultiPoint MultiPolygon Point Polygon geometry
properties bbox coordinates features
"""
OTHERS: dict[str, Any] = {
    "ngsi-ld": "https://uri.etsi.org/ngsi-ld/",
    "geojson": "https://purl.org/geojson/vocab#",
    "id": "@id",
    "type": "@type",
    "containedBy": "ngsi-ld:isContainedBy",
    "description": "http://purl.org/dc/terms/description",
    "title": "http://purl.org/dc/terms/title",
    "langString": "http://www.w3.org/1999/02/22-rdf-syntax-ns#langString",
    "ngsildproof": "ngsi-ld:ngsildproof",
    "@vocab": "https://uri.etsi.org/ngsi-ld/default-context/",
    "@protected": True,
    "@version": 1.1,
}
# Where the published file differs from the printed annex (schemas/context/README.md).
PUBLISHED: dict[str, Any] = {
    "attributeCount": "ngsi-ld:attributeCount",
    "attributeDetails": "ngsi-ld:attributeDetails",
    "entityMap": {"@id": "ngsi-ld:hasEntityMap", "@container": "@index"},
}
ADDED = {"EntityMap", "entityMapLifetime", "jsonldContext", "lastN", "ngsildConformance", "splitEntities"}


def printed() -> dict[str, Any]:
    """The printed definitions."""
    found: dict[str, Any] = {term: f"ngsi-ld:{term}" for term in PLAIN.split()}
    found |= {term: f"geojson:{term}" for term in GEOJSON.split()}
    iris = {term: f"ngsi-ld:has{term[0].upper()}{term[1:]}" for term in HAS.split()} | {"json": "ngsi-ld:hasJSON"}
    for what, groups in (("@type", TYPED), ("@container", CONTAINERS)):
        for kind, terms in groups.items():
            for term in terms.split():
                iri = found.get(term, iris.pop(term, f"ngsi-ld:{term}"))
                found[term] = {"@id": iri, what: kind}
    return found | iris | OTHERS


def test_the_pinned_core_context_has_the_printed_definitions() -> None:
    pinned = core_definitions()
    expected = printed() | PUBLISHED
    assert {term: pinned.get(term) for term in expected} == expected
    assert pinned.keys() - expected.keys() == ADDED
