"""What vendors call what we measure, for holding our codecs against the examples in The Things Network's device repository.

A field's target is 'quantity' or 'quantity/channel', with a factor where the vendor's unit is another; None: we do not take it
(settings, raw counts, things about the device). Texts stand for booleans by `WORDS`.
"""

from __future__ import annotations

from collections.abc import Mapping

Target = tuple[str, float] | None

WORDS: Mapping[str, bool] = {
    "normal": False, "tilt": True, "trigger": True, "leak": True, "no leak": False, "Leak": True, "NoLeak": False,
    "open": True, "close": False, "vacant": False, "occupied": True, "idle": False, "ON": True, "OFF": False,
    "Alarm": True, "No Alarm": False, "No alarm": False, "TRUE": True, "FALSE": False, "dark": False, "light": True,
}  # fmt: skip


def _fields(text: str) -> dict[str, Target]:
    """Lines 'their name = our name * factor', or 'their name' for what is not taken."""
    found: dict[str, Target] = {}
    for line in text.strip().splitlines():
        name, _, rest = (part.strip() for part in line.partition("="))
        target, _, factor = (part.strip() for part in rest.partition("*"))
        for one in name.split():
            found[one] = (target.replace("{}", one), float(factor) if factor else 1.0) if target else None
    return found


FIELDS: dict[str, dict[str, Target]] = {
    "elsys": _fields("""
        temperature = temperature
        humidity = humidity
        x = accelerationX * 0.15566111111111112
        y = accelerationY * 0.15566111111111112
        z = accelerationZ * 0.15566111111111112
        pressure = pressure
        distance = distance * 0.001
        pulse1 = pulses/1
        pulseAbs = pulseCount/1
        waterleak = waterLeakLevel
        occupancy = occupancy
        light = illuminance
        motion = motion
        co2 = co2
        soundPeak = soundLevelPeak
        soundAvg = soundLevel
    """),
    "milesight-iot": _fields("""
        battery = batteryLevel
        temperature = temperature
        humidity = humidity
        co2 = co2
        activity = motion
        illumination = illuminance
        light = illuminance
        infrared infrared_and_visible region_count regions calibration rainfall_counter
        tvoc = tvoc
        pressure = pressure
        pm2_5 pm2.5 = pm25
        pm10 = pm10
        light_level = lightLevel
        hcho = formaldehyde
        pulse = pulseCount
        leakage_status water leak_status = waterLeak
        distance = distance * 0.001
        tilt position = tilted
        angle_x = tiltX
        angle_y = tiltY
        angle_z = tiltZ
        threshold_x = alarm/tiltX
        threshold_y = alarm/tiltY
        threshold_z = alarm/tiltZ
        nh3 = ammonia
        h2s = hydrogenSulphide
        people_counter_all = peopleCount
        occupancy pir = presence
        remaining = percentage/remaining
        door = open
        install
        voltage = voltage
        energy power_consumption = energy * 0.001
        button = switch
        wind_direction = direction
        wind_speed = windSpeed
        rainfall_total = precipitationTotal
        em500-pp:pressure = pressure * 10
        em500-smtc:humidity = soilMoisture
        em500-swl:distance = waterLevel * 0.01
        am308:tvoc am308l:tvoc = airQualityRating
        am319:activity am319l:activity = presence
        ws202:light = lightLevel
        ws101:button
    """),
    "decentlab": _fields("""
        battery_voltage = batteryVoltage
        device_id protocol_version albedo x_orientation y_orientation voltage_ratio co2_sensor_status raw_ir_reading
        ambient_light_visible_infrared ambient_light_infrared pulse_interval ch0_pulse_interval ch1_pulse_interval
        north_wind_speed east_wind_speed sensor_id co2_concentration_lpf raw_ir_reading_lpf capacitor_voltage_1
        capacitor_voltage_2 oxygen_concentration_alt ph_mv number_of_samples total_acquisition_time
        number_of_valid_samples precipitation_interval typical_particle_size pm0_5_number_concentration
        pm1_0_number_concentration pm2_5_number_concentration pm4_number_concentration pm10_number_concentration
        counter_reading measurement_interval elongation strain alpha_inner alpha_outer beta_inner beta_outer
        heat_velocity_inner heat_velocity_outer tmax_inner tmax_outer upstream_tmax_inner upstream_tmax_outer
        max_voltage min_voltage diagnostic
        dielectric_permittivity = permittivity
        volumetric_water_content = soilMoisture * 100
        soil_temperature air_temperature temperature temperature_pt1000 temperature_outer = temperature
        surface_temperature temperature_target = temperature/surface
        head_temperature temperature_head = temperature/head
        sensor_temperature sensor_temperature_internal = temperature/sensor
        barometer_temperature = temperature/barometer
        co2_sensor_temperature = temperature/co2
        temperature_electronics = temperature/electronics
        air_humidity relative_humidity = humidity
        incoming_radiation solar_radiation total_solar_radiation = solarRadiation
        reflected_radiation = solarRadiation/reflected
        wind_speed = windSpeed
        wind_direction = direction
        maximum_wind_speed = windGust
        x_orientation_angle = tiltX
        y_orientation_angle = tiltY
        compass_heading = heading
        precipitation = precipitation
        cumulative_precipitation = precipitationTotal
        lightning_strike_count = lightningStrikes
        lightning_average_distance = lightningDistance * 1000
        vapor_pressure = vapourPressure
        vapor_pressure_deficit = vapourPressureDeficit
        atmospheric_pressure = pressure * 10
        barometric_pressure = pressure * 0.01
        pressure = pressure * 1000
        thermistor_resistance = resistance
        water_depth = waterLevel * 0.001
        freezing_flag = frost
        dew_point = dewPoint
        angle = tilt
        pulse_count = pulses
        cumulative_pulse_count = pulseCount
        ch0_pulse_count = pulses/0
        ch1_pulse_count = pulses/1
        ch0_cumulative_pulse_count = pulseCount/0
        ch1_cumulative_pulse_count = pulseCount/1
        input = digitalInput
        ch0_input = digitalInput/0
        ch1_input = digitalInput/1
        current = current * 0.001
        voltage = voltage
        strain_gauge = strain
        frequency = frequency
        weight = mass * 0.001
        photosynthetically_active_radiation = photosyntheticRadiation
        co2_concentration = co2
        illuminance = illuminance
        activity_counter = motion
        total_voc = tvoc
        sap_flow = sapFlow
        distance distance_average = distance * 0.001
        distance_minimum = distance/minimum * 0.001
        distance_maximum = distance/maximum * 0.001
        distance_median = distance/median * 0.001
        distance_10th_percentile = distance/p10 * 0.001
        distance_25th_percentile = distance/p25 * 0.001
        distance_75th_percentile = distance/p75 * 0.001
        distance_90th_percentile = distance/p90 * 0.001
        distance_most_frequent_value = distance/mode * 0.001
        leaf_wetness_index = leafWetness * 100
        status = errorCode
        sludge_blanket = sludgeBlanket
        suspended_solid = suspendedSolids * 1000
        turbidity turbidity_in_ntu = turbidity
        turbidity_in_fnu = turbidity/fnu
        turbidity_in_mg_l = suspendedSolids
        oxygen_saturation = oxygenSaturation
        oxygen_concentration = dissolvedOxygen
        ph = ph
        redox = redox
        pm1_0_mass_concentration = pm1
        pm2_5_mass_concentration = pm25
        pm4_mass_concentration = pm4
        pm10_mass_concentration = pm10
        water_potential = soilWaterPotential
        dendrometer_position = displacement * 0.000001
        dendrometer_a_position = displacement/a * 0.000001
        dendrometer_b_position = displacement/b * 0.000001
        electrical_conductivity = conductivity * 0.0001
        dl-pr36ctd-8192-1024:electrical_conductivity = conductivity * 0.1
        potentiometer_position = percentage
        dl-dlr2-006:potentiometer_position = percentage * 100
    """)
    | {
        f"{name}_{number}": (f"{quantity}/{number}", 1.0)
        for number in range(16)
        for name, quantity in (
            ("moisture_at_level", "soilMoisture"),
            ("temperature_at_level", "temperature"),
            ("salinity_at_level", "salinity"),
            ("soil_moisture_at_depth", "soilMoistureIndex"),
            ("soil_temperature_at_depth", "temperature"),
        )
    },
    "dragino": _fields("""
        BatV Bat BAT_V Bat_V = batteryVoltage
        Bat_status Ext_sensor KEEP_STATUS Interrupt_flag Sensor_flag Hardware_flag Message_type Lidar_signal mes_type
        EXTI_Trigger MOD LAST_DOOR_OPEN_DURATION ALARM Ext Systimestamp Work_mode Firmware_Version Freq_Band Sub_Band
        Sensor_Model Bat_mV DALARM_count Interrupt_alarm Alarm_status
        TempC_SHT = temperature
        Hum_SHT = humidity
        TempC_DS EXT_TempC_SHT TempC_DS18B20 = temperature/external
        EXT_Hum_SHT = humidity/external
        Distance = distance * 0.001
        distance1_cm = distance/1 * 0.01
        distance2_cm = distance/2 * 0.01
        distance3_cm = distance/3 * 0.01
        distance4_cm = distance/4 * 0.01
        dis1 = distance/1 * 0.01
        dis2 = distance/2 * 0.01
        Distance_alarm = alarm/distance
        DOOR_OPEN_STATUS = open
        DOOR_OPEN_TIMES = openings
        Lidar_distance = distance * 0.01
        Lidar_temp = temperature/lidar
        Leaf_Temperature temp_SOIL TEMP_SOIL = temperature
        Leaf_Moisture = leafWetness
        conduct_SOIL = conductivity * 0.0001
        water_SOIL = soilMoisture
        PH1_SOIL = ph
        Temp_Channel1 = temperature/1
        Temp_Channel2 = temperature/2
        TVOC_ppb = tvoc
        CO2_ppm = co2
    """),
    "netvox": _fields("""
        Volt = batteryVoltage
        Device SWver HWver Datecode Cmd SensorUnit FunctionKeyTrigger NoActiveAlarm Multiplier Multiplier1 Multiplier2
        Multiplier3 PM1_0_CF PM2_5_CF PM10_CF um0_3 um0_5 um1_0 um2_5 um5_0 um10 PM0_3UM PM0_5UM PM1_0UM PM2_5UM PM5_0UM
        PM10UM false False NO VOC Status VOC_0_1 Nitrogen Phosphorus Potassium WaterLevel water EC5TE Soil_EC Soli_EC Velocity Displacement
        Surface
        LowCurrent1Alarm HighCurrent1Alarm LowCurrent2Alarm HighCurren2Alarm LowCurrent3Alarm HighCurrent3Alarm
        Temp TempPH TempNTU SoildTemp5TE TempLDO Temperature Tempera Soil_Temp Soil_Temperature = temperature
        Temp1 = temperature/1
        Temp2 = temperature/2
        Humi Humidity = humidity
        Alarm EmergencyAlarm = alarm/emergency
        OnOff = open
        status = digitalInput
        status1 = digitalInput/1
        status2 = digitalInput/2
        Status_1 = digitalInput/1
        Status_2 = digitalInput/2
        r809a:OnOff r816b:OnOff = switch
        r718waa:Status r718wba:Status = waterLeak
        Illuminance = illuminance
        WaterLeak = waterLeak
        WaterLeak_1 = waterLeak/1
        WaterLeak_2 = waterLeak/2
        PulseCount WorkCount = pulseCount
        PulseCount1 = pulseCount/1
        PulseCount2 = pulseCount/2
        Current = current * 0.001
        Current1 = current/1 * 0.001
        Current2 = current/2 * 0.001
        Current3 = current/3 * 0.001
        Distance = distance * 0.001
        FillLevel = fillLevel
        AngleOfInclination = tilt
        DiffPressure = differentialPressure
        CarOnOff = vehiclePresent
        AirPressure Atomsphere = pressure
        TVOC_VOC TVOC = tvoc
        Occupy = presence
        DisassembledAlarm = tamper
        FireAlarm = smoke
        HighTempAlarm = alarm/temperature
        COAlarm = alarm/carbonMonoxide
        PM25 PM2_5 = pm25
        PM10 = pm10
        PM1_0 = pm1
        CO2 CO2_0_1 = co2
        ShockEvent = alarm/shock
        AngleX = tiltX
        AngleY = tiltY
        AngleZ = tiltZ
        O3 = ozone
        CO = carbonMonoxide
        NO2 = nitrogenDioxide
        SO2 = sulphurDioxide
        H2S = hydrogenSulphide
        NH3 = ammonia
        Noise = soundLevel
        PH = ph
        ORP = redox
        NTU = turbidity
        EC5SoildHumi SoildHumi5TE Soil_VWC = soilMoisture
        LDO_DO LDODO = dissolvedOxygen
        LDO_Sat LDOSat = oxygenSaturation
        WindSpeed = windSpeed
        WindDirection = direction
        Energy = energy * 0.001
        Vol = voltage
        Power = power
        OverCurrentAlarm = alarm/overCurrent
        DashCurrentAlarm = alarm/dashCurrent
        PowerOffAlarm = alarm/powerOff
    """),
    "talkpool": _fields("""
        Temperature = temperature
        RelativeHumidity Humidity = humidity
        CO2 CO2Filtered = co2
        CO2Raw = co2/raw
        MeterReading = pulseCount
        Status
        PM1_0 = pm1
        PM2_5 = pm25
        PM_10 = pm10
    """),
    "elvaco": _fields("""
        energy = energy
        volume = volume
        power = power
        flow = volumeFlow
        flow_temperature = temperature/flow
        return_temperature = temperature/return
        serial serial_from_message
        error_flag = errorCode
        cmi4111:power cmi4130:power cmi4140:power cmi4160:power = power * 1000
    """),
}

DIFFERENT: dict[str, dict[str, str]] = {
    "decentlab": {
        "dl-smtp": "0 from depths that the probe does not have; the vendor makes -5 of it, we leave it out",
        "dl-tp": "0 from levels that the probe does not have; the vendor makes -327.68 °C of it, we leave it out",
    },
    "dragino": {
        "ldds20-114": "0 without a probe; the vendor makes 0.0 °C of it, we leave it out",
        "ldds45": "0 without a probe; the vendor makes 0.0 °C of it, we leave it out",
        "ldds75-114": "0 without a probe; the vendor makes 0.0 °C of it, we leave it out",
        "lht65n-e31f": "the example's output is not what the vendor's own codec makes of its bytes",
        "lht65n-pir": "the example is an LHT65's; the vendor expects an error",
    },
    "elvaco": {"cmi4140": "the vendor writes the error flags as a hexadecimal text"},
    "netvox": {
        "r718n3": "the vendor leaves currents unmultiplied; report 1 lacks two of the three multipliers, so we leave it out",
        "r718pa": "the vendor's two codecs of these frames disagree about SO2; we take ra0715's tenths of ppm",
        "r718pa4": "the vendor's two codecs of these frames disagree about SO2; we take ra0715's tenths of ppm",
        "r718pb": "the vendor's two codecs of these frames disagree about SO2; we take ra0715's tenths of ppm",
        "r72615a": "particles by the calibration of a factory hall (report 1); only those of the atmosphere (2) are taken",
        "r726xx": "particles by the calibration of a factory hall (report 1); only those of the atmosphere (2) are taken",
        "ra0715": "particles by the calibration of a factory hall (report 1); only those of the atmosphere (2) are taken",
        "ra0715y": "particles by the calibration of a factory hall (report 1); only those of the atmosphere (2) are taken",
        "rp02": "has the device type of the R718AD; not supported",
    }
    | dict.fromkeys(
        ("r211", "r311d", "r311fa1", "r311fc", "r311la", "r315", "r602a", "r718e", "r718ia", "r718ia2", "r718ib", "r718ib2",
         "r718ijk", "r718ka", "r718ka2", "r718ma", "r718mbc", "r718n360", "r718nl3", "r718pa22", "r718t2", "r720flt",
         "r720g", "r831a", "r831b", "r831c", "r831d", "ra07w", "ra10", "rb02b", "rb02c"),
        "not in our table: a raw count, an actuator, or a unit that is not documented",
    ),
}  # fmt: skip
"""Vendor, model: why our codec does not give what an example of it has."""

CODECS: dict[str, dict[str, str]] = {
    "elsys": {"*": "elsys"},
    "milesight-iot": {
        "am103": "milesight-am103", "am103l": "milesight-am103", "am104": "milesight-am100", "am107": "milesight-am100",
        "am307": "milesight-am100", "am307l": "milesight-am100", "am308": "milesight-am300", "am308l": "milesight-am300",
        "am319": "milesight-am100", "am319l": "milesight-am100", "em300-di": "milesight-em300-di",
        "em300-mld": "milesight-em300-mld", "em300-sld": "milesight-em300-leak", "em300-zld": "milesight-em300-leak",
        "em310-udl": "milesight", "em320-th": "milesight-em320-th", "em320-tilt": "milesight",
        "em400-mud": "milesight-em400", "em400-tld": "milesight-em400", "em400-udl": "milesight-em400",
        "em500-lgt": "milesight-em500-lgt", "em500-pp": "milesight-em500-pp", "em500-pt100": "milesight-em500-pt100",
        "em500-smtc": "milesight-em500-smtc", "em500-swl": "milesight-em500-swl", "gs301": "milesight-gs301",
        "ts101": "milesight-ts101", "vs121": "milesight-vs121", "vs330": "milesight-vs330", "vs340": "milesight-vs340",
        "vs341": "milesight-vs340", "ws101": "milesight-ws101", "ws201": "milesight-ws201", "ws202": "milesight-ws202",
        "ws203": "milesight-ws203", "ws301": "milesight-ws301", "ws303": "milesight-ws303", "ws52x": "milesight-ws52x",
        "ws558": "milesight-ws52x", "wts305": "milesight-wts", "wts505": "milesight-wts", "wts506": "milesight-wts",
    },
    "decentlab": {"*": "decentlab-{}"},
    "dragino": {
        "lht65": "dragino-lht65", "lht65n": "dragino-lht65", "lht65n-e31f": "dragino-lht65n-e31f",
        "lht65n-pir": "dragino-lht65", "lht52": "dragino-lht52", "ldds20-114": "dragino-ldds", "ldds45": "dragino-ldds",
        "ldds75-114": "dragino-ldds", "ldds04": "dragino-ldds04", "llds12": "dragino-llds12", "lmds200": "dragino-lmds200",
        "lse01-114": "dragino-lse01", "lse01": "dragino-lse01", "llms01": "dragino-llms01", "lsph01": "dragino-lsph01",
        "lds01": "dragino-door-leak", "lds02": "dragino-door-leak", "lwl01": "dragino-door-leak",
        "lwl02": "dragino-door-leak", "ltc2": "dragino-ltc2", "laq4": "dragino-laq4",
    },
    "netvox": {"*": "netvox"},
    "talkpool": {"*": "talkpool-{}"},
    "elvaco": {"*": "elvaco-cmi"},
}  # fmt: skip
